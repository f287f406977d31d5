// What the page says: to those who listen, in words over it, and that something takes a while.

const $ = (id) => document.getElementById(id);
const busyWith = new Set();

/** Tells those who listen to the page. */
export function say(text) {
  $("said").textContent = "";
  requestAnimationFrame(() => ($("said").textContent = text));
}

/** Shows what went wrong, until it is closed. */
export function fail(error) {
  $("error").firstElementChild.textContent = error.message;
  $("error").hidden = false;
}

/** Closes what went wrong. */
export const forgive = () => ($("error").hidden = true);

/** Shows what takes a while, or no longer does. */
export function busy(what, on) {
  if (on) busyWith.add(what);
  else busyWith.delete(what);
  $("busy").hidden = !busyWith.size;
  $("busy").textContent = [...busyWith].at(-1) ?? "";
}

/** Does what takes a while, and tells that it does, and what went wrong. */
export async function during(what, work) {
  busy(what, true);
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    busy(what, false);
  }
}

$("error").querySelector("button").addEventListener("click", forgive);
