// `npm run dev`: the mock, unless TARN_URL names a server, and the development server of the console before it.
import { createServer } from "vite";
import { start } from "./server.js";

if (!process.env.TARN_URL) process.env.TARN_URL = (await start()).url;
const server = await createServer();
await server.listen();
server.printUrls();
