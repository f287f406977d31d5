// Keys of the whole page; "?" lists them.

const $ = (id) => document.getElementById(id);

/**
 * Listens to keys.
 * actions: isOpen() says whether there is a picture; step("undo" or "redo"), download(), showGray(bool), setTool(name)
 * and drawBrush() do what keys ask for.
 */
export function listenToKeys(actions) {
  $("help-button").addEventListener("click", () => $("help").showModal());
  addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
    if (command && (key === "z" || key === "y")) {
      event.preventDefault();
      return actions.step(event.shiftKey || key === "y" ? "redo" : "undo");
    }
    if (command || event.altKey || $("help").open || event.target.matches("input[type=text], select")) return;
    if (key === "o") $("picture-file").click();
    else if (key === "?") $("help").showModal();
    else if (!actions.isOpen()) return;
    else if (key === "d") actions.download();
    else if (key === "g") actions.showGray(true);
    else if (["1", "2", "3"].includes(key)) actions.setTool(["compare", "point", "brush"][key - 1]);
    else if (key === "[" || key === "]") {
      $("brush-size").value = Number($("brush-size").value) + (key === "]" ? 2 : -2);
      actions.drawBrush();
    } else return;
    event.preventDefault();
  });
  addEventListener("keyup", (event) => event.key.toLowerCase() === "g" && actions.showGray(false));
}
