// What `GET /api/v1/ingest/types` answers: the kinds of sources with their JSON Schemas, as the server derives them.

const secret = (description) => ({ description, format: "secret", type: ["object", "null"], default: null });

export const sourceTypes = [
  {
    name: "postgres_cdc",
    title: "PostgreSQL (change data capture)",
    title_zh: "PostgreSQL（变更捕获）",
    summary: "Copies tables once, then follows every insert, update and delete through logical replication.",
    summary_zh: "先完整复制表，再通过逻辑复制跟随每一次新增、更新和删除。",
    category: "database",
    stability: "beta",
    schema: {
      title: "PostgresCdcConfig",
      type: "object",
      required: ["url", "tables"],
      properties: {
        url: { description: "Address of the database, without the password.", type: "string", pattern: "^postgres(ql)?://", examples: ["postgres://tarn@127.0.0.1:5432/shop"] },
        password: secret("The user's password."),
        tables: { description: "Tables to follow, such as `public.orders`; `*` stands for any characters.", type: "array", minItems: 1, items: { type: "string" } },
        publication: { description: "Publication to read; created if it does not exist.", type: "string", default: "tarn" },
        slot: { description: "Replication slot to hold the place; created if it does not exist.", type: "string", default: "tarn" },
        snapshot: {
          description: "What to do with the rows that are there already.",
          default: "initial",
          oneOf: [
            { const: "initial", description: "Copy them once, then follow changes." },
            { const: "never", description: "Only follow changes from now on." },
          ],
        },
        snapshot_rows_max: { description: "Rows per chunk of the copy.", type: "integer", format: "uint32", minimum: 1, maximum: 1000000, default: 10000 },
        tls: { description: "How the connection is encrypted.", type: "string", enum: ["disable", "prefer", "require", "verify_full"], default: "prefer" },
        heartbeat: { description: "Time between heartbeats, which let the slot advance while tables rest.", type: "string", default: "10s" },
        columns: {
          description: "Columns to leave out or to mask.",
          type: "array",
          items: {
            type: "object",
            required: ["column", "action"],
            properties: {
              column: { description: "Column as `schema.table.column`.", type: "string" },
              action: {
                oneOf: [
                  { title: "Drop", type: "object", required: ["do"], properties: { do: { const: "drop" } } },
                  { title: "Mask", type: "object", required: ["do"], properties: { do: { const: "mask" }, keep: { description: "Characters to keep at the end.", type: "integer", minimum: 0, default: 4 } } },
                ],
              },
            },
          },
        },
      },
    },
    examples: [
      { title: "All orders of a shop", config: "type: postgres_cdc\nurl: postgres://tarn@127.0.0.1:5432/shop\npassword: { secret: shop_password }\ntables: [public.orders]\n" },
      { title: "Every table of a schema", config: "type: postgres_cdc\nurl: postgres://tarn@127.0.0.1:5432/shop\ntables: [\"public.*\"]\n" },
    ],
    docs: "Set `wal_level = logical` and give the user the REPLICATION attribute.\nA stopped source keeps its slot, so the database keeps its log: watch the disk.",
  },
  {
    name: "mysql_binlog",
    title: "MySQL or MariaDB (binary log)",
    title_zh: "MySQL 或 MariaDB（二进制日志）",
    summary: "Copies tables once, then follows the binary log, also through transactions of many gigabytes.",
    summary_zh: "先完整复制表，再跟随二进制日志，支持数 GB 的超大事务。",
    category: "database",
    stability: "beta",
    schema: {
      type: "object",
      required: ["url", "tables"],
      properties: {
        url: { description: "Address of the server, without the password.", type: "string", examples: ["mysql://tarn@127.0.0.1:3306"] },
        password: secret("The user's password."),
        tables: { description: "Tables to follow, such as `shop.orders`.", type: "array", minItems: 1, items: { type: "string" } },
        server_id: { description: "Number of this replica; unique among the server's replicas.", type: "integer", format: "uint32", minimum: 1, default: 4211 },
      },
    },
    examples: [{ title: "One table", config: "type: mysql_binlog\nurl: mysql://tarn@127.0.0.1:3306\ntables: [shop.orders]\n" }],
    docs: "Needs `binlog_format = ROW`.",
  },
  {
    name: "files",
    title: "Files in a folder or bucket",
    title_zh: "文件夹或对象存储中的文件",
    summary: "Reads CSV, JSON lines and Parquet files, and new ones as they come.",
    summary_zh: "读取 CSV、JSON 行和 Parquet 文件，并持续读取新到达的文件。",
    category: "file",
    stability: "stable",
    schema: {
      type: "object",
      required: ["path", "format"],
      properties: {
        path: { description: "Folder, file or address with `*`.", type: "string", examples: ["data/*.csv", "s3://bucket/orders/*.parquet"] },
        format: { type: "string", enum: ["csv", "json", "parquet"] },
        table: { description: "Name of the table.", type: ["string", "null"] },
        follow: { description: "Keep looking for new files.", type: "boolean", default: true },
        options: { description: "Reader options by name.", type: "object", additionalProperties: { type: "string" } },
      },
    },
    examples: [{ title: "CSV files of a folder", config: "type: files\npath: data/*.csv\nformat: csv\n" }],
    docs: "",
  },
  {
    name: "http_push",
    title: "HTTP push",
    title_zh: "HTTP 推送",
    summary: "Takes rows as JSON from anything that can send a request: web hooks, scripts, devices.",
    summary_zh: "接收任何能发送请求的系统推送的 JSON 数据：Webhook、脚本、设备。",
    category: "http",
    stability: "stable",
    schema: {
      type: "object",
      properties: {
        key: { description: "Columns that identify a row; later rows replace earlier ones.", type: "array", items: { type: "string" } },
        rows_max: { description: "Rows per request at most.", type: "integer", minimum: 1, default: 100000 },
      },
    },
    examples: [{ title: "Events by id", config: "type: http_push\nkey: [id]\n" }],
    docs: "curl -d '{\"id\": 1}' http://127.0.0.1:4180/api/v1/ingest/NAME/push",
  },
  {
    name: "replay",
    title: "Replay of recorded data",
    title_zh: "历史数据回放",
    summary: "Plays recorded rows in the order of their times, as fast as asked: the demo.",
    summary_zh: "按时间顺序、以指定速度回放历史数据，用于演示。",
    category: "demo",
    stability: "stable",
    schema: {
      type: "object",
      required: ["path"],
      properties: {
        path: { description: "Folder of the recording.", type: "string" },
        speed: { description: "Recorded seconds per real second.", type: "number", minimum: 1, default: 3600 },
        repeat: { description: "Start again at the end.", type: "boolean", default: true },
      },
    },
    examples: [{ title: "New York flights, an hour per second", config: "type: replay\npath: data\nspeed: 3600\n" }],
    docs: "All 336,776 departures from New York's airports in 2013, with weather, planes and airports.",
  },
];
