/** Changes, one after the other, so that what is shown is what the last of them left. */

import { calmed, complain } from "./notices.js";

let last = Promise.resolve();
let waiting = 0;

/** Run a change when those before it are done. Gives what it gives, or undefined where it failed, which is said. */
export function change(act) {
  waiting += 1;
  document.body.classList.add("busy");
  const mine = last.then(async () => {
    try {
      const result = await act();
      calmed();
      return result;
    } catch (error) {
      complain(error);
      return undefined;
    } finally {
      waiting -= 1;
      document.body.classList.toggle("busy", waiting > 0);
    }
  });
  last = mine;
  return mine;
}
