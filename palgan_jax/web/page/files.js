// Files that come to the page, chosen, dropped or pasted, and files that it gives.

const $ = (id) => document.getElementById(id);
const PALETTES = /\.(json|gpl|aco|ase|act|hex|txt)$/i;

/**
 * Takes files.
 * actions: picture(file), reference(file) and palette(file) take one; takesReference() says whether one may be dropped.
 */
export function takeFiles(actions) {
  for (const [input, take, ...buttons] of [
    ["picture-file", actions.picture, "open", "choose"],
    ["reference-file", actions.reference, "choose-reference"],
    ["palette-file", actions.palette, "load-palette"],
  ]) {
    for (const button of buttons) $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      const [file] = $(input).files;
      $(input).value = "";
      if (file) take(file);
    });
  }

  let over = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const endDrag = () => {
    over = 0;
    $("drop").hidden = true;
  };
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over++;
    $("drop").hidden = false;
    $("drop").classList.toggle("two", actions.takesReference());
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    for (const zone of $("drop").children) zone.classList.toggle("over", zone === event.target);
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event) && --over <= 0) endDrag();
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    endDrag();
    const [file] = event.dataTransfer.files;
    if (!file) return;
    if (PALETTES.test(file.name)) actions.palette(file);
    else if (actions.takesReference() && event.target.closest?.("[data-drop=reference], #reference")) actions.reference(file);
    else actions.picture(file);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) actions.picture(file);
  });
}

/** Gives a file to whoever looks at the page. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Shows a picture that comes with the page, to be tried. */
export function showExample({ name, url }, open) {
  const button = document.createElement("button"), picture = new Image();
  button.type = "button";
  button.setAttribute("aria-label", `Try ${name}`);
  picture.src = url;
  picture.alt = "";
  button.append(picture);
  button.addEventListener("click", async () => {
    const blob = await (await fetch(url)).blob();
    open(new File([blob], url.split("/").at(-1), { type: blob.type }));
  });
  $("examples").append(button);
}
