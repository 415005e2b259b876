// Icons are strokes on a grid of 16, drawn for this UI. They are decoration: what they mean is always said in text.
import type { ReactNode } from 'react';

export type IconProps = { size?: number; className?: string };

function icon(draw: ReactNode) {
  return function Icon({ size = 16, className }: IconProps) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 16 16"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.4"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        className={className}
      >
        {draw}
      </svg>
    );
  };
}

export const IconHost = icon(<><rect x="2" y="2.5" width="12" height="4.5" rx="1" /><rect x="2" y="9" width="12" height="4.5" rx="1" /><path d="M4.500 4.750h.010M4.500 11.250h.010" /></>);
export const IconTerminal = icon(<><rect x="1.500" y="2.500" width="13" height="11" rx="1.500" /><path d="m4.500 6 2 2-2 2M8.500 10.500h3" /></>);
export const IconCluster = icon(<><circle cx="8" cy="3.500" r="1.800" /><circle cx="3.500" cy="11.500" r="1.800" /><circle cx="12.500" cy="11.500" r="1.800" /><path d="m7.100 5.100-2.700 4.800M8.900 5.100l2.700 4.800M5.300 11.500h5.400" /></>);
export const IconNodes = icon(<><path d="M8 1.800 13.500 5v6L8 14.200 2.500 11V5z" /><path d="M2.500 5 8 8.200 13.500 5M8 8.200v6" /></>);
export const IconPlay = icon(<path d="M4.500 3v10l8-5z" />);
export const IconPause = icon(<path d="M5 3v10M11 3v10" />);
export const IconSession = icon(<><circle cx="8" cy="8" r="6" /><path d="M6.700 5.800v4.400L10.200 8z" /></>);
export const IconAudit = icon(<><path d="M3.500 1.500h6l3 3v10h-9z" /><path d="M9.500 1.500v3h3M5.500 7.500h5M5.500 10h5" /></>);
export const IconUser = icon(<><circle cx="8" cy="5" r="2.800" /><path d="M2.500 14c.500-3 2.600-4.500 5.500-4.500s5 1.500 5.500 4.500" /></>);
export const IconRole = icon(<path d="M8 1.500 13.500 3.500v4c0 3.500-2.300 5.800-5.500 7-3.200-1.200-5.500-3.500-5.500-7v-4z" />);
export const IconLock = icon(<><rect x="3" y="7" width="10" height="7" rx="1.200" /><path d="M5 7V5a3 3 0 0 1 6 0v2" /></>);
export const IconToken = icon(<><circle cx="5" cy="11" r="3" /><path d="m7.200 8.800 6.300-6.300M11 5l2 2" /></>);
export const IconPolicy = icon(<><path d="M2 4.500h6M12 4.500h2M2 11.500h2M8 11.500h6" /><circle cx="10" cy="4.500" r="1.800" /><circle cx="6" cy="11.500" r="1.800" /></>);
export const IconRecord = icon(<><path d="M2 4.500 8 2l6 2.500L8 7z" /><path d="M2 8l6 2.500L14 8M2 11.500 8 14l6-2.500" /></>);
export const IconHelp = icon(<><circle cx="8" cy="8" r="6.300" /><path d="M6.200 6.200c0-2.400 3.700-2.300 3.700 0 0 1.500-1.900 1.600-1.900 3M8 11.500h.010" /></>);
export const IconInfo = icon(<><circle cx="8" cy="8" r="6.300" /><path d="M8 7.300v4M8 4.800h.010" /></>);
export const IconWarn = icon(<><path d="M8 2 14.500 13.500h-13z" /><path d="M8 6.500v3.200M8 11.600h.010" /></>);
export const IconError = icon(<><circle cx="8" cy="8" r="6.300" /><path d="M8 4.700v4M8 11.200h.010" /></>);
export const IconOk = icon(<><circle cx="8" cy="8" r="6.300" /><path d="m5.200 8.200 2 2 3.600-4.200" /></>);
export const IconCheck = icon(<path d="m3 8.500 3.200 3.200L13 4.500" />);
export const IconClose = icon(<path d="m3.500 3.500 9 9M12.500 3.500l-9 9" />);
export const IconPlus = icon(<path d="M8 3v10M3 8h10" />);
export const IconSearch = icon(<><circle cx="7" cy="7" r="4.500" /><path d="m10.500 10.500 3.500 3.500" /></>);
export const IconMenu = icon(<path d="M2 4h12M2 8h12M2 12h12" />);
export const IconMore = icon(<path d="M3.500 8h.010M8 8h.010M12.500 8h.010" strokeWidth="2.200" />);
export const IconDown = icon(<path d="m4 6 4 4 4-4" />);
export const IconUp = icon(<path d="m4 10 4-4 4 4" />);
export const IconRight = icon(<path d="m6 4 4 4-4 4" />);
export const IconLeft = icon(<path d="m10 4-4 4 4 4" />);
export const IconCopy = icon(<><rect x="5.500" y="5.500" width="8" height="8" rx="1.200" /><path d="M10.500 5.500v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2" /></>);
export const IconRefresh = icon(<><path d="M13.500 8a5.500 5.500 0 1 1-1.600-3.900L13.500 5.700" /><path d="M13.500 2.500v3.200h-3.200" /></>);
export const IconEdit = icon(<path d="m10.500 3 2.500 2.500L5.500 13 2.500 13.500 3 10.500z" />);
export const IconTrash = icon(<><path d="M2.500 4h11M6 4V2.500h4V4M4 4l.600 9.500h6.800L12 4" /><path d="M6.700 7v3.500M9.300 7v3.500" /></>);
export const IconStar = icon(<path d="m8 1.800 1.900 3.900 4.300.600-3.100 3 .700 4.300L8 11.600l-3.800 2 .700-4.300-3.100-3 4.300-.600z" />);
export const IconStarFull = icon(<path fill="currentColor" d="m8 1.800 1.900 3.900 4.300.600-3.100 3 .700 4.300L8 11.600l-3.800 2 .700-4.300-3.100-3 4.300-.600z" />);
export const IconDownload = icon(<path d="M8 2v8M4.500 7 8 10.500 11.500 7M2.500 13.500h11" />);
export const IconUpload = icon(<path d="M8 10.500v-8M4.500 5.500 8 2l3.500 3.500M2.500 13.500h11" />);
export const IconLink = icon(<><path d="M6.500 9.500a3 3 0 0 0 4.300 0l2-2a3 3 0 0 0-4.300-4.300l-.700.700" /><path d="M9.500 6.500a3 3 0 0 0-4.300 0l-2 2a3 3 0 0 0 4.300 4.300l.700-.700" /></>);
export const IconExternal = icon(<path d="M9.500 2.500h4v4M13.500 2.500 7.500 8.500M11.500 9v4.500h-9v-9H7" />);
export const IconFilter = icon(<path d="M2 3.500h12L9.500 8.700v4.800l-3-1.500V8.700z" />);
export const IconClock = icon(<><circle cx="8" cy="8" r="6.300" /><path d="M8 4.500V8l2.300 1.500" /></>);
export const IconSplit = icon(<><rect x="1.500" y="2.500" width="13" height="11" rx="1.500" /><path d="M8 2.500v11" /></>);
export const IconFile = icon(<><path d="M3.500 1.500h6l3 3v10h-9z" /><path d="M9.500 1.500v3h3" /></>);
export const IconExec = icon(<path d="m3 4 4 4-4 4M8.500 12.500H13" />);
export const IconEye = icon(<><path d="M1.500 8S4 3.500 8 3.500 14.500 8 14.500 8 12 12.500 8 12.500 1.500 8 1.500 8z" /><circle cx="8" cy="8" r="2" /></>);
export const IconKey = IconToken;
export const IconSignOut = icon(<path d="M6.500 2.500h-4v11h4M10.500 5l3 3-3 3M13.500 8h-8" />);
export const IconSun = icon(<><circle cx="8" cy="8" r="2.800" /><path d="M8 1.500v1.300M8 13.200v1.300M1.500 8h1.300M13.200 8h1.300M3.400 3.400l.900.900M11.700 11.700l.900.900M12.600 3.400l-.900.900M4.300 11.700l-.900.900" /></>);
export const IconSettings = IconPolicy;
