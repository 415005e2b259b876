import './tokens.css';
import './base.css';
import './controls.css';
import './overlays.css';
import './page.css';
import './shell.css';
