-- question: Which training images look most like each image?
-- paper: Barz and Denzler (arXiv 1902.00423) on near copies
-- tables: neighbours, examples, studies
-- param: split test|train = test : which split the images are in
-- param: target_id integer 0..2147483647 = null : position of the image in its split; null: every one
-- param: k integer 1..1000000 = 6 : how many for each, at most as many as the table neighbours holds
-- param: study text = null : one study; null: all
-- column: target_id integer : position of the image in its split
-- column: rank integer : 1 is the nearest
-- column: train_id integer : position of the training example
-- column: distance double : as a share of the median distance from a training image to its nearest, as in the query duplicates
-- column: label integer : class of the training example
-- column: target_label integer : class of the image
-- column: study_id text : name of the study
-- column: fingerprint text : fingerprint of the study
-- rows: a training example that is among the k nearest of an image by pixels
with typical as (
    select dataset_id, median(distance) as nearest
    from neighbours
    where split = 'train' and rank = 1
    group by dataset_id
)
select neighbours.example_id as target_id, rank, train_id, (distance / nullif(nearest, 0))::double as distance, own.label,
       target.label as target_label, study_id, fingerprint
from neighbours join typical using (dataset_id) join studies using (dataset_id)
join examples as own on own.dataset_id = neighbours.dataset_id and own.split = 'train' and own.example_id = train_id
join examples as target on target.dataset_id = neighbours.dataset_id and target.split = neighbours.split
    and target.example_id = neighbours.example_id
where neighbours.split = $split and rank <= $k and ($target_id is null or neighbours.example_id = $target_id)
      and ($study is null or study_id = $study)
order by study_id, target_id, rank
