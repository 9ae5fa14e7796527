import { expect, it } from "vitest";
import { isCommitted, isCommittedTo } from "./committed";

it("is committed when nothing is in memory and the commit is as far as SQL", () => {
  expect(isCommitted({ hot_rows: 0, applied_offset: 7, committed_offset: 7 })).toBe(true);
  expect(isCommitted({ hot_rows: 3, applied_offset: 7, committed_offset: 4 })).toBe(false);
});

it("is not committed while deletes alone wait, which are no rows", () => {
  expect(isCommitted({ hot_rows: 0, applied_offset: 7, committed_offset: 6 })).toBe(false);
});

it("has nothing to commit where no topic feeds the table", () => {
  expect(isCommitted({ hot_rows: null, applied_offset: null, committed_offset: null })).toBe(true);
});

it("compares a commit with what was asked for, whatever came since", () => {
  expect(isCommittedTo({ committed_offset: 9 }, 7)).toBe(true);
  expect(isCommittedTo({ committed_offset: 6 }, 7)).toBe(false);
  expect(isCommittedTo({ committed_offset: null }, 7)).toBe(false);
});
