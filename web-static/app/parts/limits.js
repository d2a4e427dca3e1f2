/** The fields for a room's limits: the same for making one and for changing it. */
import { t } from "../i18n.js";
import { field } from "./field.js";

const LIMITS = ["maxActive", "passSeconds", "admitPerMinute", "graceSeconds"];

/** @param {Partial<Record<string, number | null>>} values */
export function limitFields(values) {
  const fields = LIMITS.map((name) => field(name, {
    label: () => t(`room.${name}`), hint: () => t(`room.${name}Hint`),
    type: "number", inputmode: "numeric", step: "1", min: "0", value: values[name] ?? "",
  }));
  /** What each field showed when it was last the server's value. */
  const shown = new Map(fields.map(({ name, input }) => [name, input.value]));
  return {
    fields,
    /** What the server is sent. An empty pace is no limit; what else is empty is left out. */
    read() {
      return Object.fromEntries(fields.map(({ name, input }) => {
        const none = name === "admitPerMinute" ? null : undefined;
        return [name, input.value === "" ? none : Number(input.value)];
      }));
    },
    /** Shows the present values, but not over what somebody is changing. */
    show(room) {
      for (const { name, input } of fields) {
        if (input.value !== shown.get(name) || document.activeElement === input) continue;
        input.value = String(room[name] ?? "");
        shown.set(name, input.value);
      }
    },
    /** The values are the server's now. */
    settle() {
      for (const { name, input } of fields) shown.set(name, input.value);
    },
  };
}
