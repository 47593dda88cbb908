"""Which mistakes can be put into a listing together, found by running them all:

    python -m studies.hunt_pairs [LESSON ...]        some minutes on one core for all lessons

Each bug of each task, each pair, and some triples run once on the check's public inputs; what cancels, hides
another, overlaps, stops or is told apart from another by less than ten tolerances is left out.  Writes
book/chNN/recorded/hunts.json, which `toolkit hunt` draws from."""

import json
import sys
import time

from book.lessons import bugs, registry


def main(lessons):
    """Find the combinations of these lessons, such as "04", and write their records."""
    for lesson in lessons:
        found, began = {}, time.process_time()
        for task in registry.tasks(lesson).values():
            started = time.process_time()
            one = bugs.find_combinations(task)
            count = len(bugs.bugs(task))
            said = "none"
            if one:
                found[task.id] = vars(one)
                of = count * (count - 1) // 2
                said = f"{len(one.singles)}, of {of} pairs {len(one.pairs)}, triples {len(one.triples)}"
            print(f"{task.id}: of {count} bugs {said}; {time.process_time() - started:.1f} CPU s", flush=True)
        path = registry.folder_of(lesson) / "recorded" / "hunts.json"
        path.parent.mkdir(exist_ok=True)
        rows = ",\n".join(f' "{task}": {json.dumps(one)}' for task, one in found.items())
        path.write_text("{\n" + rows + "\n}\n", "utf8")
        print(f"lesson {lesson}: {time.process_time() - began:.1f} CPU s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or registry.lessons())
