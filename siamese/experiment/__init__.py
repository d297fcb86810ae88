"""Studies: many trainings that differ in one thing, and what their scores show. And the lesson on the loss."""
