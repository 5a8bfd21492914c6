;; drop.scm MEGABYTES - builds that much, drops it, collects once, says so and waits for a line on stdin: whoever started it reads its
;; resident memory in between.
(use-modules (ice-9 rdelim))
(define megabytes (string->number (cadr (command-line))))
(define (fill i)
  (let loop ((j 0) (list '()))
    (if (= j 30000) list (loop (+ j 1) (cons (cons j i) list)))))
(define heap (make-vector megabytes #f))
(do ((i 0 (+ i 1))) ((= i megabytes)) (vector-set! heap i (fill i)))
(define (say what) (display what) (newline) (force-output) (read-line))
(say "built")
(vector-fill! heap #f)
(gc)
(say "dropped")
