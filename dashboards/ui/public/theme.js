// Runs before the first paint, so that a stored theme never flashes in the wrong colours.
// A file of its own because the content security policy allows no inline script.
(function () {
  try {
    var theme = localStorage.getItem('shipwake.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch (_) {
    // Storage may be blocked; the system theme is the answer then.
  }
})();
