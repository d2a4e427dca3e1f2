/**
 * Every view of the page. A view's module exports
 *
 *     show(...parts) -> { title: () => string, element: Element, close?: () => void }
 *
 * where `parts` are what the pattern's groups matched.
 */
export const views = [
  { pattern: /^\/$/, section: "sales", load: () => import("./views/sales.js") },
  { pattern: /^\/sale\/([^/]+)$/, section: "sales", load: () => import("./views/sale.js") },
  { pattern: /^\/concert\/([^/]+)$/, section: "sales", load: () => import("./views/concert.js") },
  { pattern: /^\/performance\/([^/]+)$/, section: "sales", load: () => import("./views/performance.js") },
  { pattern: /^\/mine$/, section: "mine", load: () => import("./views/reservations.js") },
  ...operators("admin", [
    [/^\/admin$/, () => import("./views/admin/sales.js")],
    [/^\/admin\/register$/, () => import("./views/admin/register.js")],
    [/^\/admin\/sale\/([^/]+)$/, () => import("./views/admin/statistics.js")],
    [/^\/admin\/statistics$/, () => import("./views/admin/statistics.js")],
    [/^\/admin\/failed$/, () => import("./views/admin/failed.js")],
    [/^\/admin\/audit$/, () => import("./views/admin/audit.js")],
    [/^\/admin\/rooms$/, () => import("./views/admin/rooms.js")],
    [/^\/admin\/room\/([^/]+)$/, () => import("./views/admin/room.js")],
    [/^\/admin\/concerts$/, () => import("./views/admin/concerts.js")],
    [/^\/admin\/points$/, () => import("./views/admin/points.js")],
  ]),
  ...operators("rush", [[/^\/rush$/, () => import("./views/rush.js")]]),
];

function operators(section, entries) {
  return entries.map(([pattern, load]) => ({ pattern, section, load, needsAdminKey: true }));
}

/** Stands in for a view that needs the admin key, while there is none. */
export const adminKeyView = { load: () => import("./views/admin/key.js") };

/** Stands in for an address that no pattern matches. */
export const notFoundView = { load: () => import("./views/not-found.js") };

/** What the header links to. */
export const sections = [
  { name: "sales", href: "#/", words: "nav.sales" },
  { name: "mine", href: "#/mine", words: "nav.mine" },
  { name: "admin", href: "#/admin", words: "nav.admin" },
  { name: "rush", href: "#/rush", words: "nav.rush" },
];
