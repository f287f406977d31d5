// What the palette paints: the whole picture, or one of its regions.

const MOST_REGIONS = 8;

export class Places {
  /**
   * box: where they are shown.
   * actions: regions() returns [{id, ...}], place() the number of the present one, 0 for the whole picture; go(id) goes
   * to one, add() and remove(id) change them.
   */
  constructor(box, actions) {
    Object.assign(this, { box, actions });
  }

  draw() {
    const { box, actions } = this, present = actions.place(), regions = actions.regions();
    const places = [{ id: 0, words: "Whole picture" }, ...regions.map(({ id }, n) => ({ id, words: `Region ${n + 1}` }))];
    const key = JSON.stringify([places, present]);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    const hadFocus = box.contains(document.activeElement);
    box.replaceChildren(...places.map(({ id, words }) => this.chip(id, words, id === present)));
    if (regions.length < MOST_REGIONS) {
      const add = document.createElement("button");
      add.type = "button";
      add.className = "plain";
      add.textContent = "+ Region";
      add.addEventListener("click", () => actions.add());
      box.append(add);
    }
    if (hadFocus) box.querySelector("input:checked")?.focus();
  }

  chip(id, words, checked) {
    const label = document.createElement("label"), radio = document.createElement("input"), text = document.createElement("span");
    Object.assign(radio, { type: "radio", name: "where", value: id, checked });
    text.textContent = words;
    radio.addEventListener("change", () => this.actions.go(id));
    label.append(radio, text);
    if (!id) return label;
    const chip = document.createElement("span"), end = document.createElement("button");
    chip.className = "chip";
    end.type = "button";
    end.textContent = "×";
    end.setAttribute("aria-label", `Remove ${words}`);
    end.addEventListener("click", () => this.actions.remove(id));
    chip.append(label, end);
    return chip;
  }
}
