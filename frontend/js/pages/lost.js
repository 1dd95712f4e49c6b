// There is nothing at this address.
import { startPublicPage } from "../lib/shell.js";

startPublicPage();
