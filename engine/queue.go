package engine

// queue is a list that is taken from at its front. Its memory is used again.
type queue[T any] struct {
	list []T
	head int
}

func (q *queue[T]) push(x T) { q.list = append(q.list, x) }

func (q *queue[T]) len() int { return len(q.list) - q.head }

// first is the oldest, of a queue that is not empty.
func (q *queue[T]) first() T { return q.list[q.head] }

func (q *queue[T]) pop() T {
	x := q.first()
	q.head++
	switch {
	case q.head == len(q.list):
		q.list, q.head = q.list[:0], 0
	case q.head > 4096 && q.head*2 > len(q.list):
		q.list, q.head = q.list[:copy(q.list, q.list[q.head:])], 0
	}
	return x
}
