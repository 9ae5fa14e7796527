import { start } from "./server.js";

const { url } = await start(Number(process.env.PORT ?? 4180));
process.stdout.write(`Tarn mock at ${url}\n`);
