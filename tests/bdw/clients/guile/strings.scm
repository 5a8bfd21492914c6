;; strings.scm N - strings, symbols, string ports, bytevectors, bignums and fractions; prints digests.
(use-modules (ice-9 string-fun) (rnrs bytevectors) (srfi srfi-1) (srfi srfi-13))
(define n (string->number (cadr (command-line))))

(define (digest string)
  (string-fold (lambda (c sum) (modulo (+ (* sum 31) (char->integer c)) 1000000007)) 7 string))

(define (words i)
  (call-with-output-string
   (lambda (port)
     (do ((j 0 (+ j 1))) ((= j 200)) (format port "word-~a/~a " i (* i j))))))

(define (factorial k) (if (= k 0) 1 (* k (factorial (- k 1)))))

(define (harmonic k) (let loop ((i 1) (sum 0)) (if (> i k) sum (loop (+ i 1) (+ sum (/ 1 i))))))

(do ((i 0 (+ i 1))) ((= i n))
  (let* ((text (words i))
         (parts (string-split text #\space))
         (back (string-join (reverse parts) "-"))
         (bytes (string->utf8 (string-replace-substring back "word" "wörd"))))
    (when (= 0 (modulo i (max 1 (quotient n 10))))
      (format #t "~a: ~a ~a ~a~%" i (digest back) (bytevector-length bytes)
              (length (delete-duplicates (map string->symbol parts)))))))

(let ((table (make-hash-table)))
  (do ((i 0 (+ i 1))) ((= i (* n 100)))
    (hash-set! table (string->symbol (string-append "key-" (number->string (modulo i 5000)))) (list i)))
  (format #t "table: ~a~%" (hash-fold (lambda (k v sum) (+ sum (car v))) 0 table)))

(do ((i 0 (+ i 1))) ((= i n))
  (let ((f (factorial (+ 200 (modulo i 50)))))
    (when (= 0 (modulo i (max 1 (quotient n 5))))
      (format #t "bignum ~a: ~a~%" i (digest (number->string f))))))
(format #t "harmonic: ~a~%" (digest (number->string (harmonic (* 4 (min n 300))))))
