/** REST calls to the server this page came from. */
import { clock } from "./clock.js";

export class ApiError extends Error {
  /**
   * @param {{code: string, message?: string, status?: number, order?: object, seats?: number[], paymentId?: string | number,
   *          retryAfterMs?: number}} about
   */
  constructor({ code, message = code, status = 0, order = null, seats = [], paymentId = null, retryAfterMs = 1000 }) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.order = order;
    this.seats = seats;
    this.paymentId = paymentId;
    this.retryAfterMs = retryAfterMs;
  }

  /** Nothing is known about what was asked; it may have happened. Never to be shown as a "no". */
  get isUndecided() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} path below the page's own address, as `api/sales`
 * @param {{token?: string | null, body?: object, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer's `result`; null for 204
 * @throws {ApiError}
 */
export async function call(method, path, { token, body, headers = {}, signal } = {}) {
  const sentAt = performance.now();
  let response, text;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: "no-store",
      headers: {
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    clock.learnFromDate(response.headers.get("date"), performance.now() - sentAt);
    text = await response.text();
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError({ code: "unreachable", message: String(cause?.message ?? cause) });
  }
  if (response.status === 204) return null;
  return unwrap(response, text);
}

function unwrap(response, text) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    const status = response.ok ? 0 : response.status;
    throw new ApiError({ code: "unavailable", message: `not an answer of Dibs (${response.status})`, status });
  }
  if (answer.error === null && response.ok) return answer.result;
  const seconds = Number(response.headers.get("retry-after"));
  throw new ApiError({
    ...answer.error,
    status: response.status,
    retryAfterMs: seconds > 0 ? seconds * 1000 : undefined,
  });
}

/** A path with its parts escaped: path`api/sales/${id}`. */
export function path(strings, ...values) {
  return String.raw({ raw: strings }, ...values.map(encodeURIComponent));
}
