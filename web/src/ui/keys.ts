/** The name of the key that goes with others in commands, as this computer's keyboard writes it. */
export const MOD_KEY = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl";
