/** What is around every view: header, main, footer, and the place for short announcements. */
import { h, refresh } from "../dom.js";
import { currentLanguage, setLanguage, t } from "../i18n.js";
import { currentSection } from "../router.js";
import { live } from "../stores/live.js";
import { session } from "../stores/session.js";
import { isDark, toggleTheme } from "../theme.js";
import { sections } from "../views.js";
import { announcer } from "./announce.js";
import { lineStrip } from "./line-strip.js";
import { openSignIn } from "./sign-in.js";

export function frame() {
  const main = h("main", { id: "main", class: "page" });
  const elements = [
    h("a", { class: "skip", href: "#main", onclick: (event) => skipTo(event, main) }, () => t("nav.skip")),
    h("header", { class: "top" }, brand(), navigation(), controls()),
    lineStrip(),
    main,
    footer(),
    announcer,
  ];
  return { main, elements };
}

/** The address after `#` names the view, so the skip link must not change it. */
function skipTo(event, main) {
  event.preventDefault();
  main.tabIndex = -1;
  main.focus();
}

function brand() {
  return h("a", { class: "brand", href: "#/", "aria-label": () => t("nav.home") },
    h("span", { class: "brand__ticket", "aria-hidden": "true" }, "Dibs"));
}

function navigation() {
  const links = sections.map(({ name, href, words }) =>
    h("a", { href, "aria-current": () => (currentSection() === name ? "page" : null) }, () => t(words)));
  return h("nav", { class: "nav", "aria-label": () => t("nav.label") }, links);
}

function controls() {
  return h("div", { class: "controls" }, account(), languageToggle(), themeToggle());
}

function account() {
  return h("div", { class: "account" },
    h("span", { class: "account__name", hidden: () => !session.user, title: () => session.user?.name },
      () => session.user?.name),
    h("button", { class: "quiet", type: "button", id: "sign-out", hidden: () => !session.user,
      onclick: () => session.signOut() }, () => t("account.signOut")),
    h("button", { class: "quiet", type: "button", id: "sign-in", hidden: () => Boolean(session.user),
      onclick: () => openSignIn() }, () => t("account.signIn")));
}

/** Names the language it changes to, in that language. */
function languageToggle() {
  const other = () => (currentLanguage() === "en" ? "ko" : "en");
  return h("button", {
    class: "quiet", type: "button", id: "language", lang: other,
    "aria-label": () => (other() === "ko" ? "한국어로 보기" : "Read in English"),
    onclick: () => setLanguage(other()),
  }, () => (other() === "ko" ? "한국어" : "English"));
}

function themeToggle() {
  const button = h("button", {
    class: "quiet theme-toggle", type: "button", id: "theme",
    "aria-label": () => t("theme.dark"), "aria-pressed": () => String(isDark()),
    onclick: () => { toggleTheme(); refresh(button); },
  }, h("span", { "aria-hidden": "true", class: "theme-toggle__disc" }));
  return button;
}

function footer() {
  const again = h("button", { type: "button", class: "link", hidden: () => !session.user || live.state !== "closed",
    onclick: () => live.reconnect() }, () => t("connection.again"));
  const state = h("p", { class: "connection", "data-state": () => live.state },
    () => t(session.user ? `connection.${live.state}` : "connection.none"), " ", again);
  return h("footer", { class: "bottom" }, h("p", {}, () => t("app.motto")), state);
}
