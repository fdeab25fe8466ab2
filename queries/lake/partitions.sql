-- question: What is in the lake, what did each file cost, and where does it come from?
-- source: the footers of the files
-- tables: partitions
-- param: study text = null : one study (or dataset, for examples); null: all
-- column: table_name text : the table
-- column: study_id text : name of the study, or of the dataset for examples
-- column: role text : role or fit of its rows
-- column: index integer : number of the file in its role
-- column: rows bigint : rows
-- column: n_failed bigint : rows whose status is not `ok`
-- column: seconds double [s] : wall time of one worker
-- column: cpu_seconds double [s] : processor time
-- column: device text : what it was computed on
-- column: code text : version of the software that wrote it
-- column: fingerprint text : fingerprint of the study or dataset
-- column: content text : content hash of the rows
-- column: file_name text : path of the file
-- rows: a file of the lake
select table_name, study_id, role, index, rows, n_failed, seconds, cpu_seconds, device, code, fingerprint, content, file_name
from partitions
where $study is null or study_id = $study
order by table_name, study_id, role, index
