/** Begins: with the model that lies beside the page, or else with the server that the page came from. */

import { app } from "./app.js";
import { http } from "./http.js";
import { complain } from "./notices.js";
import { askToken } from "./token.js";
import { preferred, speak } from "./words.js";

async function brain() {
  const beside = await fetch(new URL("model.json", document.baseURI), { method: "HEAD" }).then(
    (answer) => answer.ok,
    () => false,
  );
  if (!beside) return http(document.baseURI, askToken);
  const { open } = await import("../lib/local.js");
  return open(new URL("./", document.baseURI).href);
}

await speak(preferred());
try {
  await app(await brain());
} catch (error) {
  complain(error);
}
