"""Proofs that need no solver: re-training in exact or ball arithmetic, and certificates that a reader can check.

The numbers of an instance are floating-point numbers, and each of them is a rational. All that is proved here is
proved of the instance with just these rationals, not with the decimals that somebody may have meant.

What to read. The core says what a certificate is and what proves it: ``certificate_file``, ``nodes``, ``checker``,
``tree``, ``parts``, ``leaf_bounds``, ``exact_choices``, ``exact_outcome``, ``enclosures``, ``rationals``. The rest
depends on the certificate at hand:

| learner or update | re-training | bounds over many choices |
|---|---|---|
| ridge, svm, squared_hinge, huber, epsilon_insensitive | exact_records, polylines, exact_optimum, duality_gap | lagrangian, learner_rows, scalar_maximum |
| l1_svm, lad | the same, exact_vertex | the same |
| logistic | exact_records, gradient_bound | the same |
| nearest centroid, running centroids | exact_centroids | centroid_bound, class_rows, member_sums |
| gradient steps | exact_steps | step_bound, member_sums |
| feature changes, beside these | exact_changes, linear_rules | feature_reach, box_duality, changed_record, step_changes |

``proposals`` says in floating point where an optimum nearly is. It need not be believed, nor read: what is then said
about the exact optimum is proved without it.
"""  # noqa: E501
