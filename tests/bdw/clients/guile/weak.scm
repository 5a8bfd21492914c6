;; weak.scm N - guardians, weak hash tables and vectors with (gc) in loops. A conservative collector may keep some of what was
;; dropped, so of that only "most" (nine of ten) is claimed; what is held must be there to the last one.
(use-modules (ice-9 weak-vector))
(define n (string->number (cadr (command-line))))

(define (most? count of) (if (>= (* 10 count) (* 9 of)) "most" (format #f "only ~a of ~a" count of)))

;; The stack below is overwritten, lest old words in it keep objects.
(define (scrub depth) (if (= depth 0) 0 (+ 1 (scrub (- depth 1)))))
(define (collect) (scrub 2000) (gc) (scrub 2000) (gc))

(define (guardians)
  (let ((guardian (make-guardian)) (kept '()))
    (do ((i 0 (+ i 1))) ((= i n))
      (let ((object (vector i (number->string i))))
        (guardian object)
        (when (even? i) (set! kept (cons object kept)))))
    (let loop ((round 0) (back 0) (wrong 0))
      (let ((object (guardian)))
        (cond (object
               (loop round (+ back 1)
                     (+ wrong (if (and (odd? (vector-ref object 0))
                                       (equal? (vector-ref object 1) (number->string (vector-ref object 0))))
                                  0 1))))
              ((< round 5) (collect) (loop (+ round 1) back wrong))
              (else (format #t "guardian: ~a back, ~a wrong, ~a held~%" (most? back (quotient n 2)) wrong (length kept))))))))

(define (held-intact? table keys)
  (every-key (lambda (key) (equal? (hashq-ref table key) (list (vector-ref key 0)))) keys))
(define (every-key right? keys) (or (null? keys) (and (right? (car keys)) (every-key right? (cdr keys)))))

(define (weak-keys)
  (let ((table (make-weak-key-hash-table)) (kept '()))
    (do ((i 0 (+ i 1))) ((= i n))
      (let ((key (vector i)))
        (hashq-set! table key (list i))
        (when (= 0 (modulo i 4)) (set! kept (cons key kept)))))
    (collect) (collect)
    (let ((left (hash-fold (lambda (key value count) (+ count 1)) 0 table)))
      (format #t "weak keys: held intact ~a, dropped ~a~%" (held-intact? table kept)
              (most? (- n left) (- n (length kept)))))))

(define (weak-values)
  (let ((table (make-weak-value-hash-table)) (kept '()))
    (do ((i 0 (+ i 1))) ((= i n))
      (let ((value (list i i)))
        (hashv-set! table i value)
        (when (= 0 (modulo i 4)) (set! kept (cons value kept)))))
    (collect) (collect)
    (format #t "weak values: held intact ~a, dropped ~a~%"
            (every-key (lambda (value) (eq? value (hashv-ref table (car value)))) kept)
            (most? (- n (hash-fold (lambda (key value count) (+ count 1)) 0 table)) (- n (length kept))))))

(define (weak-vectors)
  (let ((weak (make-weak-vector n #f)) (kept '()))
    (do ((i 0 (+ i 1))) ((= i n))
      (let ((object (list i)))
        (weak-vector-set! weak i object)
        (when (= 0 (modulo i 4)) (set! kept (cons object kept)))))
    (collect)
    (let loop ((i 0) (gone 0))
      (if (< i n)
          (loop (+ i 1) (if (weak-vector-ref weak i) gone (+ gone 1)))
          (format #t "weak vector: held intact ~a, dropped ~a~%"
                  (every-key (lambda (object) (eq? object (weak-vector-ref weak (car object)))) kept)
                  (most? gone (- n (length kept))))))))

;; Object properties are weak tables inside Guile; ports have finalizers.
(define (properties-and-ports)
  (let ((property (make-object-property)) (kept (map list (iota 100))))
    (for-each (lambda (object) (set! (property object) (number->string (car object)))) kept)
    (do ((i 0 (+ i 1))) ((= i n))
      (set! (property (list i)) i)
      (open-input-string (number->string i)))
    (collect)
    (format #t "properties: ~a~%" (every-key (lambda (o) (equal? (property o) (number->string (car o)))) kept))))

(guardians) (weak-keys) (weak-values) (weak-vectors) (properties-and-ports)
(do ((i 0 (+ i 1))) ((= i 20)) (gc))
(format #t "collections: ~a~%" (if (> (assq-ref (gc-stats) 'gc-times) 20) "counted" "not counted"))
