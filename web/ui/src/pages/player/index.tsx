import { PageSkeleton } from '../../ui';

export default PageSkeleton;
