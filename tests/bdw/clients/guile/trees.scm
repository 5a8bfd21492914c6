;; trees.scm N - pairs and vectors of all ages: trees that die at once, a tree and a vector that live to the end, and old
;; objects that are made to point to young ones. Prints counts and sums only.
(define n (string->number (cadr (command-line))))

(define (make depth)
  (if (= depth 0)
      (cons '() '())
      (cons (make (- depth 1)) (make (- depth 1)))))

(define (size tree)
  (if (null? tree) 0 (+ 1 (size (car tree)) (size (cdr tree)))))

(define (young-trees depth times)
  (let loop ((i 0) (sum 0))
    (if (= i times) sum (loop (+ i 1) (+ sum (size (make depth)))))))

;; A generator of our own: the same numbers on every run.
(define state 12345)
(define (random-below limit)
  (set! state (modulo (+ (* state 1103515245) 12345) 2147483648))
  (modulo (quotient state 8) limit))

;; Slots of an old vector get fresh lists, with their lengths in front; what the sum finds in the end was written at all times of a cycle.
(define (old-to-young slots rounds)
  (let ((old (make-vector slots '(0))))
    (do ((i 0 (+ i 1))) ((= i rounds))
      (let* ((slot (random-below slots)) (list (vector-ref old slot)))
        (vector-set! old slot (if (> (car list) 8) (cons* 1 i '()) (cons* (+ 1 (car list)) i (cdr list))))))
    (apply + (map (lambda (list) (apply + (cdr list))) (vector->list old)))))

(define long-lived (make 15))
(define numbers (let ((v (make-vector 100000 0.0)))
                  (do ((i 0 (+ i 1))) ((= i 100000) v) (vector-set! v i (/ 1.0 (+ i 1))))))

(do ((depth 4 (+ depth 2))) ((> depth 16))
  (format #t "trees of depth ~a: ~a pairs~%" depth (young-trees depth (quotient (* n (expt 2 (- 16 depth))) 4))))
(format #t "old to young: ~a~%" (old-to-young 20000 (* n 10000)))
(format #t "long-lived: ~a pairs, number ~a~%" (size long-lived) (vector-ref numbers 1000))
