/** Every word the page says. `{name}` is filled in; plural forms are chosen by `n`. */
import { en } from "./strings/en.js";
import { ko } from "./strings/ko.js";

export const strings = { en, ko };
