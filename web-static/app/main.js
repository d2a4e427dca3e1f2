/** Starts the page: the frame around the views, and the view that the address names. */
import { refresh } from "./dom.js";
import { language } from "./i18n.js";
import { frame } from "./parts/frame.js";
import { Router } from "./router.js";
import { line } from "./stores/line.js";
import { live } from "./stores/live.js";
import { sales } from "./stores/sales.js";
import { session } from "./stores/session.js";
import { theme } from "./theme.js";

const { main, elements } = frame();
document.body.replaceChildren(...elements);

const router = new Router(main);
const refreshAll = () => {
  refresh(document.body);
  router.retitle();
};
language.listen(refreshAll);
session.listen(refreshAll);
live.listen(refreshAll);
sales.listen(() => router.retitle());
line.listen(() => router.retitle());
theme.listen(refreshAll);

live.follow();
router.start();
