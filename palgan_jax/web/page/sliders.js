// The sliders that change all of a palette, the saturation, and how much of a reference is taken.

const $ = (id) => document.getElementById(id);
export const SHIFTS = ["hue", "chroma", "temperature"];
const value = (id) => Number($(id).value);
const signed = (x) => (x > 0 ? `+${x}` : `${x}`.replace("-", "−"));
const WORDS = {
  hue: () => `${signed(value("hue"))}°`,
  chroma: () => `× ${value("chroma").toFixed(2)}`,
  temperature: () => signed(value("temperature")),
  saturation: () => `× ${value("saturation").toFixed(2)}`,
  strength: () => `${Math.round(100 * value("strength"))} %`,
};

/** Listens to the sliders: slide(name, value, gesture), where all of a drag is one gesture. */
export function listenToSliders(slide) {
  for (const name of Object.keys(WORDS)) {
    let gesture = null;
    $(name).addEventListener("input", () => slide(name, value(name), (gesture ??= {})));
    $(name).addEventListener("change", () => (gesture = null));
  }
  // A double click brings a slider back to where it was.
  for (const slider of document.querySelectorAll(".sliders input")) {
    slider.addEventListener("dblclick", () => {
      slider.value = slider.defaultValue;
      slider.dispatchEvent(new Event("input"));
      slider.dispatchEvent(new Event("change"));
    });
  }
}

/** Shows values, by the names of sliders, and says all of them. */
export function showSliders(values) {
  for (const [name, shown] of Object.entries(values)) $(name).value = shown;
  for (const [name, words] of Object.entries(WORDS)) {
    $(name).parentElement.querySelector("output").textContent = words();
    $(name).setAttribute("aria-valuetext", words());
  }
}
