// Applies the remembered theme. The page itself may not be ready yet.
try {
  const theme = localStorage.getItem("makima.theme")
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme
} catch {
  // Storage may be turned off.
}
