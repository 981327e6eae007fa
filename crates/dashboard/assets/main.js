// What every page does. Each module is one idea; without scripts the pages work too, but stand still.
import "./theme.js";
import "./time.js";
import "./keys.js";
import "./dialog.js";
import "./explorer.js";
import "./live.js";
import "./logs.js";
