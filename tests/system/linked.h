/* linked.h - see linked.c. */
#ifndef HOLDFAST_TEST_LINKED_H
#define HOLDFAST_TEST_LINKED_H

enum { LINKED_PLACES = 5 };
extern __thread void *volatile linked_global;

/* The calling thread's instance of the word; the last one is the process's. */
void *volatile *linked_place(int which);

#endif
