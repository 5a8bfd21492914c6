/* verify.h - the marker's checker: looks at everything again with other code, which knows nothing of stacks, rings and
 * pieces, and asks of each word of a typed object on its own whether it may hold a pointer. Debug builds. */
#ifndef HOLDFAST_VERIFY_H
#define HOLDFAST_VERIFY_H

/* With marking finished and the world stopped: NULL when every reachable object is black, else a sentence. */
const char *mark_verify(void);

#endif
