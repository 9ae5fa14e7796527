import type { TableFile } from "~/api/types";

/** Files that are drawn one by one; the small ones beyond are drawn as one per partition. */
export const DRAWN_MAX = 2000;
/** Below this compaction looks for files to put together. */
export const SMALL_BYTES = 16_000_000;

export interface FileNode {
  path: string | null;
  partition: string;
  bytes: number;
  rows: number;
  deleted_rows: number;
  /** More than one where it stands for several. */
  files: number;
  small: number;
}

export interface PartitionNode {
  partition: string;
  bytes: number;
  files: FileNode[];
}

const nodeOf = (file: TableFile): FileNode => ({
  path: file.path,
  partition: file.partition ?? "",
  bytes: file.bytes,
  rows: file.rows,
  deleted_rows: file.deleted_rows,
  files: 1,
  small: file.bytes < SMALL_BYTES ? 1 : 0,
});

/** Data files by partition, both the largest first. */
export function treeOf(files: TableFile[], drawnMax = DRAWN_MAX): PartitionNode[] {
  const data = files.filter((file) => file.content === "data").toSorted((a, b) => b.bytes - a.bytes);
  const partitions = new Map<string, PartitionNode>();
  const rests = new Map<string, FileNode>();
  for (const [index, file] of data.entries()) {
    const node = nodeOf(file);
    const partition = partitions.get(node.partition) ?? { partition: node.partition, bytes: 0, files: [] };
    partitions.set(node.partition, partition);
    partition.bytes += node.bytes;
    const rest = rests.get(node.partition);
    if (index < drawnMax) partition.files.push(node);
    else if (rest) for (const key of ["bytes", "rows", "deleted_rows", "files", "small"] as const) rest[key] += node[key];
    else {
      const first = { ...node, path: null };
      rests.set(node.partition, first);
      partition.files.push(first);
    }
  }
  return [...partitions.values()].toSorted((a, b) => b.bytes - a.bytes);
}

/** From 0 to 1: how much of a file compaction would free, or how many of those it stands for are small. */
export const wornOf = (node: FileNode): number => (node.rows === 0 ? 0 : Math.min(1, node.deleted_rows / node.rows));
export const smallOf = (node: FileNode): number => node.small / node.files;
