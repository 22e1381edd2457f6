/** What is refused, in the words of quickstudy's errors; `code` names a string of words/*.json. */
export class Refused extends Error {
  /**
   * @param {string} code
   * @param {string} message what was wrong, what was found, what to do
   */
  constructor(code, message) {
    super(message);
    this.name = "Refused";
    this.code = code;
  }
}
