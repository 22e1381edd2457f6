/** Sounds of the microphone, as WAV files, which every decoder reads. */

import { button, make } from "../dom.js";
import { refusal, told } from "./camera.js";
import { wav } from "./wav.js";

/** give(records): what was recorded, once it is stopped, after `seconds` at most. */
export function record({ give, live, seconds = 30 }) {
  const reason = refusal("microphone");
  if (reason) return { node: make("p", { classes: "small", said: reason }), clear() {} };
  const node = make("div", { classes: "record" });
  let running = null;

  const stop = async (keep) => {
    if (!running) return;
    const { stream, context, blocks, timer } = running;
    running = null;
    clearTimeout(timer);
    stream.getTracks().forEach((track) => track.stop());
    const rate = context.sampleRate;
    await context.close();
    show();
    if (keep && blocks.length) await give([wav(blocks, rate)]);
  };
  const start = async () => {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      node.replaceChildren(begin, make("p", { classes: "small", role: "alert", said: told(error, "microphone") }));
      return;
    }
    const context = new AudioContext();
    await context.audioWorklet.addModule(new URL("tap.js", import.meta.url));
    const tap = new AudioWorkletNode(context, "tap");
    const blocks = [];
    tap.port.onmessage = (event) => blocks.push(event.data);
    context.createMediaStreamSource(stream).connect(tap);
    running = { stream, context, blocks, timer: setTimeout(() => stop(true), 1000 * seconds) };
    show();
  };
  const begin = button("microphone.start", start, { classes: live ? [] : "main" });
  const end = button("microphone.stop", () => stop(true), { classes: ["main", "recording"] });
  const show = () => node.replaceChildren(running ? end : begin);
  show();
  return { node, clear: () => stop(false) };
}
