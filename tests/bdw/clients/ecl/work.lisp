;;; work.lisp - conses, structures, CLOS objects, hash tables, strings, bignums, finalizers, weak tables and threads in ECL. Prints
;;; counts and sums only. The environment variable WORK_SIZE says how much.
(defvar *n* (parse-integer (or (ext:getenv "WORK_SIZE") "10")))

(defstruct node left right value)
(defclass thing () ((name :initarg :name :reader name) (links :initform nil :accessor links)))

(defun make-tree (depth)
  (if (zerop depth)
      (make-node :value 1)
      (make-node :left (make-tree (1- depth)) :right (make-tree (1- depth)) :value depth)))
(defun tree-sum (tree)
  (if (null tree) 0 (+ (node-value tree) (tree-sum (node-left tree)) (tree-sum (node-right tree)))))

(defun say (what &rest numbers) (format t "~a:~{ ~a~}~%" what numbers))

(defun digest (string)
  (let ((sum 7)) (loop for c across string do (setf sum (mod (+ (* 31 sum) (char-code c)) 1000000007))) sum))

(defun trees ()
  (let ((old (make-tree 12)))
    (say "young trees" (loop repeat *n* sum (tree-sum (make-tree 10))))
    (say "old tree" (tree-sum old))))

;; Old objects are made to point to young ones.
(defun slots ()
  (let ((old (make-array 1000 :initial-element nil)) (state 12345))
    (dotimes (i (* 1000 *n*))
      (setf state (mod (+ (* state 1103515245) 12345) 2147483648))
      (let ((slot (mod (floor state 8) 1000)))
        (setf (aref old slot) (if (> (length (aref old slot)) 8) (list i) (cons i (aref old slot))))))
    (say "slots" (loop for list across old sum (reduce #'+ list)))))

(defun objects ()
  (let ((things (loop for i below (* 50 *n*) collect (make-instance 'thing :name (format nil "thing ~r" (mod i 1000))))))
    (loop for (a b) on things while b do (push a (links b)))
    (say "objects" (length things) (digest (name (car (links (car (last things)))))))))

(defun tables ()
  (let ((table (make-hash-table :test #'equal)))
    (dotimes (i (* 200 *n*)) (setf (gethash (format nil "key ~d" (mod i 5000)) table) (list i)))
    (say "table" (hash-table-count table) (loop for v being the hash-values of table sum (car v)))))

(defun numbers ()
  (say "bignums" (digest (format nil "~d" (loop with f = 1 for i from 1 to (* 10 (min *n* 100)) do (setf f (* f i)) finally (return f)))))
  (say "ratios" (digest (format nil "~a" (loop for i from 1 to (* 4 (min *n* 100)) sum (/ 1 i))))))

;; A conservative collector may keep a few.
(defvar *finalized* 0)
(defun most (count of) (if (>= (* 10 count) (* 9 of)) "most" (format nil "only ~a of ~a" count of)))
(defun drop-finalized (count)
  (dotimes (i count) (ext:set-finalizer (make-tree 2) (lambda (tree) (when (= (tree-sum tree) 8) (incf *finalized*))))))
(defun finalizers ()
  (let ((held (make-tree 2)) (count (* 20 *n*)))
    (ext:set-finalizer held (lambda (tree) (declare (ignore tree)) (format t "a held object was finalized~%")))
    (drop-finalized count)
    (loop repeat 10 until (>= (* 10 *finalized*) (* 9 count)) do (ext:gc t) (make-tree 8))
    (say "finalizers" (most *finalized* count) (tree-sum held))
    (ext:set-finalizer held nil)))

(defun weak-tables ()
  (let ((table (make-hash-table :test #'eq :weakness :key)) (kept nil) (count (* 20 *n*)))
    (dotimes (i count)
      (let ((key (list i)))
        (setf (gethash key table) (list i i))
        (when (zerop (mod i 4)) (push key kept))))
    (ext:gc t) (make-tree 8) (ext:gc t)
    (say "weak table" (every (lambda (key) (equal (gethash key table) (list (car key) (car key)))) kept)
         (most (- count (hash-table-count table)) (- count (length kept))))))

(defun threads ()
  (flet ((work (seed) (lambda () (loop repeat (* 2 *n*) sum (* seed (tree-sum (make-tree 8)))))))
    (say "threads"
         (reduce #'+ (mapcar #'mp:process-join (loop for i from 1 to 4 collect (mp:process-run-function i (work i)))))))
  (say "short threads"
       (loop for i below (* 2 *n*) sum (mp:process-join (mp:process-run-function i (lambda () (length (make-list 100))))))))

(trees) (slots) (objects) (tables) (numbers) (finalizers) (weak-tables) (threads)
(dotimes (i 5) (ext:gc t))
(say "end")
(ext:quit 0)
