/** How a connection ends, and whether a client may come back. */
export const CloseCode = { done: 1000, tooBig: 1009, noPong: 4012, rateLimited: 4029 };

/** @param {number} code @returns {boolean} whether the contract lets a client come back after this close code */
export function mayReconnect(code) {
  if (code === CloseCode.done || code === CloseCode.tooBig) return false;
  return code < 4500 || code > 4999;
}
