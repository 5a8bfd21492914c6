/* work.m - objects of the Objective-C runtime for this collector, libobjc_gc: made, linked, dropped; the argument says how many. Prints sums only. */
#include <objc/Object.h>
#include <objc/objc.h>
#include <objc/runtime.h>
#include <stdio.h>
#include <stdlib.h>

@interface Node : Object {
 @public
  Node *left, *right;
  long value;
  char pad[24];
}
+ (id)make:(long)depth;
- (long)sum;
@end

@implementation Node
+ (id)make:(long)depth {
  Node *node = class_createInstance(self, 0);
  node->value = depth;
  if (depth > 0) {
    node->left = [self make:depth - 1];
    node->right = [self make:depth - 1];
  }
  return node;
}
- (long)sum {
  return value + (left ? [left sum] + [right sum] : 0);
}
@end

int main(int argc, char **argv) {
  long rounds = argc > 1 ? atol(argv[1]) : 10, sum = 0;
  Node *old = [Node make:15];
  long i;
  for (i = 0; i < rounds; i++) {
    sum += [[Node make:10] sum];
  }
  printf("young %ld, old %ld\n", sum, [old sum]);
  return 0;
}
