/* rescan.h - the part of a marker's work that looks again at what remark.h lists. */
#ifndef HOLDFAST_RESCAN_H
#define HOLDFAST_RESCAN_H

struct marker;
struct view;

/* Takes pieces until there are none, or the phase is broken off. The stack is empty before; after, unless m->left tells. */
void rescan_pieces(struct marker *m, const struct view *v);

#endif
