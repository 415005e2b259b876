// Further icons on the same grid: those of events and of the player.
import type { ReactNode } from 'react';
import type { IconProps } from './icons';

function icon(draw: ReactNode) {
  return function Icon({ size = 16, className }: IconProps) {
    return (
      <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" className={className}>
        {draw}
      </svg>
    );
  };
}

export const IconCertificate = icon(<><rect x="2" y="2.5" width="12" height="8" rx="1" /><path d="M4.500 5.200h7M4.500 7.700h3" /><path d="m9.500 9.500v4.500l1.500-1 1.500 1v-4.500" /></>);
export const IconSignature = icon(<><path d="M2 13.500h12" /><path d="M2.500 10.500c2-5.500 4-8 5-7s-3 6.500-1.500 6.800 2.200-3 3-2.800-.200 2.300.700 2.500 1.800-1 3.300-1.500" /></>);
export const IconMail = icon(<><rect x="2" y="3.500" width="12" height="9" rx="1" /><path d="m2.500 4.500 5.500 4 5.500-4" /></>);
export const IconEnd = icon(<rect x="3.500" y="3.500" width="9" height="9" rx="1" />);
export const IconRefused = icon(<><circle cx="8" cy="8" r="6.300" /><path d="m3.700 12.300 8.600-8.600" /></>);
export const IconUsers = icon(<><circle cx="6" cy="5.500" r="2.300" /><path d="M1.800 13c.400-2.600 2-3.900 4.200-3.900s3.800 1.300 4.200 3.900M10.500 3.400a2.300 2.300 0 0 1 0 4.200M12 9.500c1.200.600 2 1.700 2.200 3.500" /></>);
export const IconArrows = icon(<path d="M2 5.500h11M10.500 3 13 5.500 10.500 8M14 10.500H3M5.500 8 3 10.500 5.500 13" />);
export const IconNextFrame = icon(<path d="M4 3.500v9l6-4.500zM12.500 3.500v9" />);
export const IconPreviousFrame = icon(<path d="M12 3.500v9l-6-4.500zM3.500 3.500v9" />);
export const IconBack = icon(<><path d="M3 8a5.500 5.500 0 1 0 1.800-4.100L3 5.500" /><path d="M3 2.500v3h3" /></>);
export const IconAhead = icon(<><path d="M13 8a5.500 5.500 0 1 1-1.800-4.100L13 5.500" /><path d="M13 2.500v3h-3" /></>);
