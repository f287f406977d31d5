// The engine of this page. A page without a server names the one in browser.js here.

export { ServerEngine as Engine } from "./server.js";
