// Widgets of a page without a kernel: each control has places, each setting a picture and its alt text.
// The settings are numbered as in book/site/states.py, the last control the fastest.
(() => {
  "use strict";

  const place = field => field.type === "checkbox" ? Number(field.checked)
    : field.tagName === "SELECT" ? field.selectedIndex : Number(field.value);

  function start(explorer) {
    const data = JSON.parse(explorer.querySelector("script[type='application/json']").textContent);
    const fields = [...explorer.querySelectorAll("input, select")];
    const image = explorer.querySelector("img"), told = explorer.querySelector("[role=status]");
    let pending;

    const state = places => data.states[
      places.reduce((number, at, i) => number * data.shown[i].length + at, 0)];
    const address = ([picture]) => `${data.folder}/${data.files[picture]}`;

    function show() {
      const places = fields.map(place), now = state(places);
      fields.forEach((field, i) => {
        if (field.type !== "range") return;
        const text = data.shown[i][places[i]];
        field.setAttribute("aria-valuetext", text);
        field.nextElementSibling.textContent = text;
      });
      image.src = address(now);
      image.alt = data.alts[now[1]];
      return places;
    }

    function moved(event) {
      const places = show();
      clearTimeout(pending); // a screen reader is told where a movement ends, not each place on the way
      pending = setTimeout(() => { told.textContent = image.alt; }, 700);
      const i = fields.indexOf(event.target); // the neighbours are fetched, so that the next step is at once
      for (const at of [places[i] - 1, places[i] + 1])
        if (at >= 0 && at < data.shown[i].length)
          new Image().src = address(state(places.map((other, k) => k === i ? at : other)));
    }

    fields.forEach(field => field.addEventListener("input", moved));
    explorer.querySelector(".explorer-controls").hidden = false;
    show(); // a browser may have kept the places of an earlier visit
  }

  const all = () => document.querySelectorAll(".explorer").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all); else all();
})();
