/** Files of sound as samples: WAV files exactly, all others as the browser decodes them. */
import { Refused } from "./refused.js";
import { wavIn } from "./wav.js";

const SLOWEST = 8000; // samples a second, that every browser decodes to

/**
 * One channel of a file of sound; Refused, naming it, for what is none.
 * @param {Blob} file
 * @param {string} name
 * @param {number} rate that is wanted
 * @returns {Promise<import("./wav.js").Sound>}
 */
export async function soundOf(file, name, rate) {
  const bytes = await file.arrayBuffer();
  const exact = wavIn(bytes, name);
  if (exact) return exact;
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, Math.max(rate, SLOWEST)).decodeAudioData(bytes);
  } catch (error) {
    throw new Refused("unreadable", `${name} cannot be read as a recording (${error}). Replace or remove it.`);
  }
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, c) => decoded.getChannelData(c));
  const samples = channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
  return { samples, rate: decoded.sampleRate, channels: channels.length };
}
