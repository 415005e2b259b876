import type { ReactNode } from 'react';
import type { ApiError } from '../api/error';
import { app, ui } from '../strings/app';
import { Button } from './Button';
import { Skeleton } from './Small';
import { Failed } from './Note';

export type Column<T> = {
  key: string;
  title: string;
  /** The title is for screen readers alone: buttons, checkboxes. */
  hideTitle?: boolean;
  cell: (row: T) => ReactNode;
  align?: 'right';
  /** Any CSS width; the others share what is left. */
  width?: string;
  /** On a phone the row is a card: `title` is its first line, `hide` leaves it out; others are label and value. */
  phone?: 'title' | 'hide' | 'bare';
};

export type TableProps<T> = {
  /** What the table holds: its name for a screen reader. */
  label: string;
  columns: Column<T>[];
  rows: T[] | undefined;
  rowKey: (row: T) => string;
  error?: ApiError;
  retry?: () => void;
  /** Shown when there are no rows: an `Empty`. */
  empty: ReactNode;
  /** A row that can be opened: called on a click; a link or button in the row does the same for the keyboard. */
  onRow?: (row: T) => void;
  selected?: (row: T) => boolean;
  rowTone?: (row: T) => 'bad' | 'warn' | undefined;
  more?: boolean;
  loadingMore?: boolean;
  loadMore?: () => void;
  /** How many rows to hold the place for while loading. */
  expect?: number;
  /** Newer data is on its way: shown by a line at the top, nothing moves. */
  refreshing?: boolean;
};

export function Table<T>(props: TableProps<T>) {
  const { label, columns, rows, rowKey, error, retry, empty, onRow, selected, rowTone, more, loadingMore, loadMore, expect = 6, refreshing } = props;
  if (error && !rows) return <Failed error={error} retry={retry} />;
  if (rows && rows.length === 0) return <>{error && <Failed error={error} retry={retry} />}{empty}</>;
  return (
    <div className="table-box">
      {error && <Failed error={error} retry={retry} />}
      <table className="table" aria-label={label} aria-busy={!rows || refreshing || undefined}>
        <colgroup>
          {columns.map((column) => <col key={column.key} style={column.width ? { width: column.width } : undefined} />)}
        </colgroup>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.key} scope="col" className={column.align === 'right' ? 'num' : undefined}>
                <span className={column.hideTitle ? 'sr' : undefined}>{column.title}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows
            ? rows.map((row) => (
                 
                <tr
                  key={rowKey(row)}
                  className={`${onRow ? 'row-open ' : ''}${rowTone?.(row) ? `row-${rowTone(row)}` : ''}`}
                  aria-selected={selected ? selected(row) : undefined}
                  onClick={onRow && ((event) => {
                    // What happens in a menu or dialog of the row comes up here as well, though it is elsewhere on the page.
                    const inside = event.currentTarget.contains(event.target as Node);
                    if (inside && !(event.target as Element).closest('a, button, input, label, select')) onRow(row);
                  })}
                >
                  {columns.map((column) => (
                    <td key={column.key} data-label={column.hideTitle ? '' : column.title} data-phone={column.phone} className={column.align === 'right' ? 'num' : undefined}>
                      {column.cell(row)}
                    </td>
                  ))}
                </tr>
              ))
            : Array.from({ length: expect }, (_, n) => (
                <tr key={n} aria-hidden="true">
                  {columns.map((column, at) => (
                    <td key={column.key} data-label={column.hideTitle ? '' : column.title} data-phone={column.phone}>
                      <Skeleton width={at === 0 ? `${60 + ((n * 13) % 30)}%` : '60%'} />
                    </td>
                  ))}
                </tr>
              ))}
        </tbody>
      </table>
      {!rows && <span className="sr" role="status">{app.loading}</span>}
      {more && loadMore && (
        <div className="table-more">
          <Button onClick={loadMore} busy={loadingMore}>{ui.more}</Button>
        </div>
      )}
    </div>
  );
}
