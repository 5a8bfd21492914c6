;; pause.scm MEGABYTES TURNS - the longest time between two looks at the clock, by a loop that makes garbage beside a heap of that
;; size. Prints, in one line: the longest gap in microseconds, how many collections there were, the seconds it took.
(define megabytes (string->number (cadr (command-line))))
(define turns (string->number (caddr (command-line))))

;; A megabyte each: lists of pairs and a few strings.
(define (fill i)
  (let loop ((j 0) (list '()))
    (if (= j 30000) list (loop (+ j 1) (cons (if (= 0 (modulo j 16)) (make-string 24 #\x) (cons j i)) list)))))
(define heap (make-vector megabytes #f))
(do ((i 0 (+ i 1))) ((= i megabytes)) (vector-set! heap i (fill i)))

(define began (get-internal-real-time))
(define before (assq-ref (gc-stats) 'gc-times))
(define (measure)
  (let loop ((i 0) (last (get-internal-real-time)) (longest 0))
    (if (= i turns)
        longest
        (let ((garbage (list i i i i i i i i)) (now (get-internal-real-time)))
          (loop (+ i (quotient (length garbage) 8)) now (max longest (- now last)))))))
(define longest (measure))
(format #t "~a ~a ~a~%" (quotient longest (quotient internal-time-units-per-second 1000000))
        (- (assq-ref (gc-stats) 'gc-times) before)
        (exact->inexact (/ (- (get-internal-real-time) began) internal-time-units-per-second)))
(unless (= (length (vector-ref heap (quotient megabytes 2))) 30000) (exit 1))
