/* JupyterLab draws a picture that a cell puts out without an alt attribute, whatever the output's metadata say.
 * This extension has its own renderers draw it, and then copies metadata[type].alt to the <img>. So a screen
 * reader hears it in a notebook that has just been opened and in one that runs, and no file needs the picture
 * twice. It is written as JupyterLab loads extensions (a "prebuilt" one), by hand: there is nothing to build.
 */
(() => {
  "use strict";

  const NAME = "fast-diffusion-alt-text";
  const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/svg+xml"];
  let shared; // {package: {version: {get}}}: the modules of the running JupyterLab

  /* A module of the running JupyterLab: what it takes for the registry of renderers is found by its token. */
  async function ofJupyterLab(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  /* The factory `base` for one type, whose renderers give their picture its alt text. */
  function described(base, type) {
    return {
      safe: base.safe,
      mimeTypes: [type],
      createRenderer: (options) => {
        const renderer = base.createRenderer(options);
        const render = renderer.render.bind(renderer);
        renderer.render = async (model) => {
          await render(model);
          const alt = model.metadata[type]?.alt;
          const picture = renderer.node.querySelector("img");
          if (picture && typeof alt === "string") {
            picture.alt = alt;
          }
        };
        return renderer;
      },
    };
  }

  const plugin = (token) => ({
    id: `${NAME}:plugin`,
    description: "Gives pictures the alt text of their output's metadata.",
    autoStart: true,
    requires: [token],
    activate: (app, registry) => {
      for (const type of TYPES) {
        const base = registry.getFactory(type);
        if (base) {
          registry.addFactory(described(base, type), registry.getRank(type));
        }
      }
    },
  });

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const { IRenderMimeRegistry } = await ofJupyterLab("@jupyterlab/rendermime");
      return () => ({ __esModule: true, default: plugin(IRenderMimeRegistry) });
    },
  };
})();
