/** Pictures of the camera, where there is one and the page may use it. */

import { button, make } from "../dom.js";

const EVERY = 350; // milliseconds between two looks
const SIDE = 480;
let stopOther = () => {};

/** give(records): a JPEG of what the camera sees; where `live`, again and again. */
export function camera({ give, live }) {
  const reason = refusal();
  if (reason) return { node: make("p", { classes: "small", said: reason }), clear() {} };
  const video = make("video", { playsinline: true, muted: true, hidden: true, label: "camera.picture" });
  video.muted = true;
  const why = make("p", { classes: "small", hidden: true });
  const node = make("div", { classes: "camera" });
  let stream = null;
  let timer = 0;

  const take = async () => {
    if (!video.videoWidth) return;
    const side = Math.min(video.videoWidth, video.videoHeight);
    const canvas = make("canvas", { width: SIDE, height: SIDE });
    const corner = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
    canvas.getContext("2d").drawImage(video, ...corner, side, side, 0, 0, SIDE, SIDE);
    await give([await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92))]);
  };
  const look = async () => {
    if (!stream) return;
    await take();
    if (stream) timer = setTimeout(look, EVERY);
  };
  const stop = () => {
    clearTimeout(timer);
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
    show();
  };
  const start = async () => {
    stopOther();
    why.hidden = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    } catch (error) {
      node.replaceChildren(opened, make("p", { classes: "small", role: "alert", said: told(error, "camera") }));
      return;
    }
    stopOther = stop;
    video.srcObject = stream;
    await video.play();
    show();
    if (live) look();
  };
  const opened = button("camera.start", start, { classes: live ? [] : "main" });
  const show = () => {
    video.hidden = !stream;
    node.replaceChildren(...(stream ? [video, buttons] : [opened]));
  };
  const buttons = make(
    "div",
    { classes: "buttons" },
    live ? null : button("camera.take", take, { classes: "main" }),
    button("camera.stop", stop),
  );
  show();
  return { node, clear: stop };
}

/** Why there can be no camera or microphone here, as a key of words; "" where there can. */
export function refusal(what = "camera") {
  if (!window.isSecureContext) return `${what}.insecure`;
  return navigator.mediaDevices?.getUserMedia ? "" : `${what}.none`;
}

/** What the browser said when it was asked for one, as a key of words. */
export function told(error, what) {
  if (error?.name === "NotAllowedError") return `${what}.refused`;
  return error?.name === "NotFoundError" ? `${what}.none` : `${what}.failed`;
}
