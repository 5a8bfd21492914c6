;; threads.scm N - threads that allocate at the same time, hand objects to each other, and end; futures; continuations,
;; whose stacks are copied to the heap. Prints sums that do not depend on the order of threads.
(use-modules (ice-9 threads) (ice-9 futures) (srfi srfi-1))
(define n (string->number (cadr (command-line))))

(define (make depth) (if (= depth 0) '() (cons (make (- depth 1)) (make (- depth 1)))))
(define (size tree) (if (null? tree) 0 (+ 1 (size (car tree)) (size (cdr tree)))))
(define (work seed) (let loop ((i 0) (sum 0)) (if (= i n) sum (loop (+ i 1) (+ sum (* seed (size (make 10))))))))

(format #t "threads: ~a~%" (apply + (map join-thread (map (lambda (i) (call-with-new-thread (lambda () (work i)))) (iota 4 1)))))
(format #t "short threads: ~a~%"
        (apply + (map (lambda (i) (join-thread (call-with-new-thread (lambda () (length (make-list i i)))))) (iota (* 10 n)))))
(format #t "par-map: ~a~%" (apply + (par-map work (iota 8 1))))
(format #t "futures: ~a~%" (apply + (map touch (map (lambda (i) (make-future (lambda () (work i)))) (iota 8 1)))))

;; A queue: its producer's objects are reachable only through it and the consumer's registers.
(define lock (make-mutex))
(define ready (make-condition-variable))
(define queue '())
(define (put! object) (with-mutex lock (set! queue (cons object queue)) (signal-condition-variable ready)))
(define (take!)
  (with-mutex lock
    (let wait () (when (null? queue) (wait-condition-variable ready lock) (wait)))
    (let ((object (car queue))) (set! queue (cdr queue)) object)))
(let ((producer (call-with-new-thread (lambda () (do ((i 1 (+ i 1))) ((> i (* 200 n))) (put! (list i (make-string 20 #\x))))))))
  (let loop ((i 0) (sum 0))
    (if (< i (* 200 n)) (loop (+ i 1) (+ sum (car (take!)))) (format #t "queue: ~a~%" sum)))
  (join-thread producer))

;; A generator by full continuations, one by a prompt.
(define (tree-walk tree return)
  (if (pair? tree)
      (begin (tree-walk (car tree) return) (call/cc (lambda (rest) (return (cons 'pair rest)))) (tree-walk (cdr tree) return))))
(define (count-by-continuations tree)
  (let ((count 0))
    (let ((step (call/cc (lambda (return) (tree-walk tree return) #f))))
      (if step (begin (set! count (+ count 1)) ((cdr step) #t)) count))))
(format #t "continuations: ~a~%" (count-by-continuations (make 6)))
(define tag (make-prompt-tag "walk"))
(define (count-by-prompts tree)
  (let loop ((thunk (lambda () (let walk ((t tree)) (when (pair? t) (walk (car t)) (abort-to-prompt tag (length t)) (walk (cdr t)))) #f)) (sum 0))
    (let ((step (call-with-prompt tag thunk (lambda (rest value) (cons rest value)))))
      (if step (loop (car step) (+ sum (cdr step))) sum))))
(format #t "prompts: ~a~%" (let loop ((i 0) (sum 0)) (if (= i n) sum (loop (+ i 1) (+ sum (count-by-prompts (make 9)))))))
