/** Words that must be quoted where they are names; the server quotes nothing by itself. */
const RESERVED = new Set(
  "all and any array as asc between by case cast check column constraint create cross current_date default delete desc distinct drop else end except exists false fetch for foreign from full grant group having in inner insert intersect into is join lateral left like limit merge natural not null offset on or order outer primary references right select set table then to true union unique update user using values when where window with".split(" "),
);

/** A name as SQL writes it: quoted where it would otherwise be read as another one. */
export function ident(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** A text as SQL writes it. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export interface TableName {
  namespace: string;
  table: string;
}

export const tableRef = ({ namespace, table }: TableName): string => `${ident(namespace)}.${ident(table)}`;

/** Rows about a table, such as its `refs`. */
export const aboutRef = ({ namespace, table }: TableName, about: string): string => `${ident(namespace)}."${table.replaceAll('"', '""')}$${about}"`;

/** A branch of a table as statements name it that read or write it. */
export const branchRef = (name: TableName, branch: string): string => `${tableRef(name)}.${ident(`branch_${branch}`)}`;

/** A table as procedures name it, as a text. */
export const tableText = ({ namespace, table }: TableName): string => literal(`${namespace}.${table}`);

/** A table as of a snapshot; ids are too long for a number of JavaScript and stay text. */
export const asOf = (name: TableName, snapshot: string): string => `${tableRef(name)} FOR VERSION AS OF ${/^\d+$/.test(snapshot) ? snapshot : literal(snapshot)}`;
