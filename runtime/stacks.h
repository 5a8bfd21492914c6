/* stacks.h - which memory of a thread is stack, and how much of it is in use: its own stack, the signal stack it may
 * be on, and the stacks of coroutines that the program has registered. */
#ifndef HOLDFAST_STACKS_H
#define HOLDFAST_STACKS_H

#include "runtime/base.h"

struct thread;
struct gc_stack;

typedef void stacks_visitor(void *arg, struct range r);

/* For api/threads.c; stops deferred. add: NULL when memory is refused. remove, enter: end the program when s is not
 * registered, or some thread says that it runs on it. */
struct gc_stack *stacks_add(char *lo, char *hi);
void stacks_remove(struct gc_stack *s);

/* The calling thread is about to go on to another stack; NULL: its own. top: as in thread_block. */
void stacks_switch(struct gc_stack *to, char *top);

/* t has ended, or is not in this process any more: what it ran on is empty now. By t itself, or with the world stopped
 * or t gone. */
void stacks_forget_thread(struct thread *t);

/* In a stop: the used parts, with registers, of the stacks of t; of all stacks that no thread runs on. */
void stacks_walk_thread(const struct thread *t, stacks_visitor *visit, void *arg);
void stacks_walk_left(stacks_visitor *visit, void *arg);

/* The program says that t runs on a stack that is not its own (thread.h, said_at). While the program runs: a hint. */
bool stacks_says_elsewhere(const struct thread *t);

/* While the program runs: about what the second will give. Stops deferred or not a thread of the program. */
void stacks_hint(stacks_visitor *visit, void *arg);

#endif
